#!/usr/bin/env python
"""Django's command line for Tollgate."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.management import execute_from_command_line
    from django.db.utils import OperationalError

    # No server there, no such database, wrong password; SQLite: no such folder.
    unreachable = (1044, 1045, 1049, 2002, 2003, 2005, "unable to open database file")
    try:
        execute_from_command_line(sys.argv)
    except OperationalError as error:
        if not error.args or error.args[0] not in unreachable:
            raise
        sys.exit(f"tollgate: DATABASE_URL: the database cannot be reached ({error.args[-1]})")
