#!/usr/bin/env python3
"""Django's command line for Tallybook."""

import os
import sys

if __name__ == "__main__":
    # A standard stream that is closed is /dev/null. Otherwise the next file or socket would get its
    # number, and the log would be written into it.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)
    except KeyboardInterrupt:
        sys.exit(130)
