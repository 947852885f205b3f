"""The settings of a later version of Tallybook, which has two migrations more."""

from config.settings import *  # noqa: F403

MIGRATION_MODULES = {"transfers": "tests.system.later.migrations"}
