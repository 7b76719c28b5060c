"""A process with Django set up that does what it is told: one JSON line of code in, one of output out.

Loading Django takes seconds; a fault test asks for a command or a piece of code many times.
"""

import contextlib
import io
import json
import sys
import traceback


def main() -> None:
    import django

    django.setup()
    from django.db import connections

    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        output = io.StringIO()
        status = 0
        with contextlib.redirect_stdout(output):
            try:
                exec(json.loads(line), {"__name__": "clerk"})
            except SystemExit as left:
                status = int(left.code or 0)
            except BaseException:
                status = 1
                traceback.print_exc(file=output)
            finally:
                connections.close_all()  # the database may be killed before the next line comes
        print(json.dumps([status, output.getvalue()]), file=answers, flush=True)


if __name__ == "__main__":
    main()
