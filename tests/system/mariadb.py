"""A MariaDB from Debian with a WordPress's tables of FluentCRM."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pymysql

from tests.browser.chromium import skip_without
from tests.system.server import free_port, wait_until

PASSWORD = "secret of shop"
FAST = (
    *("--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M"),
    *("--innodb-log-file-size=8M", "--skip-log-bin", "--performance-schema=OFF"),
)
# FluentCRM's database/migrations, with the prefix "wp_", and WordPress's options. Without the
# comments and the tables that Tallybook does not read.
TABLES = """
CREATE TABLE wp_options (
    option_id BIGINT UNSIGNED NOT NULL PRIMARY KEY AUTO_INCREMENT,
    option_name VARCHAR(191) NOT NULL UNIQUE, option_value LONGTEXT NOT NULL,
    autoload VARCHAR(20) NOT NULL DEFAULT 'yes');
CREATE TABLE wp_fc_subscribers (
    `id` BIGINT UNSIGNED NOT NULL PRIMARY KEY AUTO_INCREMENT,
    `user_id` BIGINT UNSIGNED NULL,
    `hash` VARCHAR(90) NULL,
    `contact_owner` BIGINT UNSIGNED NULL,
    `company_id` BIGINT UNSIGNED NULL,
    `prefix` VARCHAR(192) NULL,
    `first_name` VARCHAR(192) NULL,
    `last_name` VARCHAR(192) NULL,
    `email` VARCHAR(190) NOT NULL UNIQUE,
    `timezone` VARCHAR(192) NULL,
    `address_line_1` VARCHAR(192) NULL,
    `address_line_2` VARCHAR(192) NULL,
    `postal_code` VARCHAR(192) NULL,
    `city` VARCHAR(192) NULL,
    `state` VARCHAR(192) NULL,
    `country` VARCHAR(192) NULL,
    `ip` VARCHAR(40) NULL,
    `latitude` DECIMAL(10, 8) NULL,
    `longitude` DECIMAL(10, 8) NULL,
    `total_points` INT UNSIGNED NOT NULL DEFAULT 0,
    `life_time_value` INT UNSIGNED NOT NULL DEFAULT 0,
    `phone` VARCHAR(50) NULL,
    `status` VARCHAR(50) NOT NULL DEFAULT 'subscribed',
    `contact_type` VARCHAR(50) DEFAULT 'lead',
    `source` VARCHAR(50) NULL,
    `avatar` VARCHAR(192) NULL,
    `date_of_birth` DATE NULL,
    `created_at` TIMESTAMP NULL,
    `last_activity` TIMESTAMP NULL,
    `updated_at` TIMESTAMP NULL,
    INDEX `wp_fc_index__subscriber_user_id_idx` (`user_id` ASC),
    INDEX `wp_fc_index__subscriber_status_idx` (`status` ASC));
CREATE TABLE wp_fc_subscriber_meta (
    `id` BIGINT UNSIGNED NOT NULL PRIMARY KEY AUTO_INCREMENT,
    `subscriber_id` BIGINT UNSIGNED NOT NULL,
    `created_by` BIGINT UNSIGNED NOT NULL,
    `object_type` VARCHAR(50) DEFAULT 'option',
    `key` VARCHAR(192) NOT NULL,
    `value` LONGTEXT NULL,
    `created_at` TIMESTAMP NULL,
    `updated_at` TIMESTAMP NULL,
    INDEX `wp_fc_index__s_meta_id_idx` (`subscriber_id` ASC),
    INDEX `wp_fc_index__s_ot_idx` (`object_type` ASC));
CREATE TABLE wp_fc_subscriber_pivot (
    `id` BIGINT UNSIGNED NOT NULL PRIMARY KEY AUTO_INCREMENT,
    `subscriber_id` BIGINT UNSIGNED NOT NULL,
    `object_id` BIGINT UNSIGNED NOT NULL,
    `object_type` VARCHAR(50) NOT NULL,
    `status` VARCHAR(50) NULL,
    `is_public` TINYINT(1) NOT NULL DEFAULT 1,
    `created_at` TIMESTAMP NULL,
    `updated_at` TIMESTAMP NULL,
    INDEX `wp_fc_srp__sp_id_idx` (`subscriber_id` ASC),
    INDEX `wp_fc_srp__sp_o_id_idx` (`object_id` ASC),
    INDEX `wp_fc_srp__sp_t_id_idx` (`object_type` ASC));
CREATE TABLE wp_fc_subscriber_notes (
    `id` BIGINT UNSIGNED NOT NULL PRIMARY KEY AUTO_INCREMENT,
    `subscriber_id` BIGINT UNSIGNED NOT NULL,
    `parent_id` BIGINT UNSIGNED NULL,
    `created_by` BIGINT UNSIGNED NULL,
    `status` VARCHAR(50) DEFAULT 'open',
    `type` VARCHAR(50) DEFAULT 'note',
    `is_private` TINYINT DEFAULT 1,
    `title` VARCHAR(192) NULL,
    `description` LONGTEXT NULL,
    `created_at` TIMESTAMP NULL,
    `updated_at` TIMESTAMP NULL,
    INDEX `wp_fc_sn__s_id_idx` (`subscriber_id` ASC),
    INDEX `wp_fc_sn__s_idx` (`status` ASC),
    KEY `type` (`type`));
CREATE TABLE wp_fc_tags (
    `id` INT UNSIGNED NOT NULL PRIMARY KEY AUTO_INCREMENT,
    `title` VARCHAR(192) NOT NULL,
    `slug` VARCHAR(192) NOT NULL,
    `description` TINYTEXT NULL,
    `created_at` TIMESTAMP NULL,
    `updated_at` TIMESTAMP NULL);
CREATE TABLE wp_fc_lists (
    `id` INT UNSIGNED NOT NULL PRIMARY KEY AUTO_INCREMENT,
    `title` VARCHAR(192) NOT NULL,
    `slug` VARCHAR(192) NOT NULL,
    `description` TINYTEXT NULL,
    `is_public` TINYINT(1) DEFAULT 0,
    `created_at` TIMESTAMP NULL,
    `updated_at` TIMESTAMP NULL);
CREATE TABLE wp_fc_meta (
    `id` BIGINT UNSIGNED NOT NULL PRIMARY KEY AUTO_INCREMENT,
    `object_type` VARCHAR(50) NOT NULL,
    `object_id` BIGINT NULL,
    `key` VARCHAR(192) NOT NULL,
    `value` LONGTEXT NULL,
    `created_at` TIMESTAMP NULL,
    `updated_at` TIMESTAMP NULL,
    INDEX `wp_fc_mt__mt_idx` (`object_type` ASC),
    INDEX `wp_fc_mt__mto_id_idx` (`object_id` ASC),
    INDEX `wp_fc_mt__mto_id_key` (`key`));
CREATE TABLE wp_fc_event_tracking (
    `id` BIGINT UNSIGNED NOT NULL PRIMARY KEY AUTO_INCREMENT,
    `subscriber_id` BIGINT UNSIGNED NOT NULL,
    `counter` INT(11) UNSIGNED NULL DEFAULT 1,
    `created_by` BIGINT UNSIGNED NULL,
    `provider` VARCHAR(50) DEFAULT 'custom',
    `event_key` VARCHAR(192) NOT NULL,
    `title` VARCHAR(192) NOT NULL,
    `value` TEXT NULL,
    `created_at` TIMESTAMP NULL,
    `updated_at` TIMESTAMP NULL,
    INDEX `wp_fc_et__s_id_idx` (`subscriber_id`),
    INDEX `wp_fc_et__s_idx` (`event_key`),
    INDEX `wp_fc_et__s_idx_title` (`title`));
"""


class Shop:
    """The database of a shop."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"mysql://shop@127.0.0.1:{port}/shop"
        self.sql = self._connect("root")

    def _connect(self, user: str) -> Any:
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user=user, charset="utf8mb4", autocommit=True
        )

    def create(self) -> None:
        """Create the tables without rows."""
        self.run(
            "DROP DATABASE IF EXISTS shop; CREATE DATABASE shop CHARACTER SET utf8mb4 "
            "COLLATE utf8mb4_unicode_520_ci; USE shop; "
            # As WordPress: wp-includes/class-wpdb.php, set_sql_mode.
            f"SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION'; {TABLES} "
            f"GRANT SELECT ON shop.* TO shop@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'"
        )

    def run(self, statements: str, parameters: Sequence[Any] = ()) -> None:
        """Run statements that end with semicolons."""
        with self.sql.cursor() as cursor:
            for statement in filter(str.strip, statements.split(";")):
                cursor.execute(statement, parameters or None)

    def insert(self, table: str, *rows: dict[str, Any]) -> None:
        """Insert rows with the same columns into a table, which is named without its prefix."""
        names = ", ".join(f"`{name}`" for name in rows[0])
        values = ", ".join(["%s"] * len(rows[0]))
        with self.sql.cursor() as cursor:
            statement = f"INSERT INTO wp_{table} ({names}) VALUES ({values})"
            cursor.executemany(statement, [[*row.values()] for row in rows])


@contextmanager
def mariadb(folder: Path) -> Iterator[Shop]:
    """Run MariaDB on loopback, with a data folder of its own."""
    if not shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin"):
        skip_without("mariadbd", "apt-get install mariadb-server")
    data, port = folder / "mariadb", free_port()
    user = f"--user={'root' if os.geteuid() == 0 else os.environ.get('USER', 'mysql')}"
    subprocess.run(
        [
            *("mariadb-install-db", "--no-defaults", f"--datadir={data}", user, *FAST),
            *("--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    log = (folder / "mariadb.log").open("wb")
    process = subprocess.Popen(
        [
            *("/usr/sbin/mariadbd", "--no-defaults", f"--datadir={data}", user, *FAST),
            *(f"--port={port}", "--bind-address=127.0.0.1", "--skip-name-resolve"),
            *(f"--socket={folder / 'sock'}", f"--pid-file={folder / 'pid'}"),
        ],
        stdout=log,
        stderr=log,
    )

    shops: list[Shop] = []

    def connect() -> bool:
        assert process.poll() is None, (folder / "mariadb.log").read_text()
        try:
            shops.append(Shop(port))
        except pymysql.MySQLError:
            return False
        return True

    try:
        with closing(log):
            wait_until(connect, 30)
        shops[0].create()
        yield shops[0]
        shops[0].sql.close()
    finally:
        process.terminate()
        process.wait(30)
