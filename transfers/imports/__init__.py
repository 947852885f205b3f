"""Import a file by a job: convert its rows, write them in steps, and report those left out.

A step writes some hundred rows, and the job's position with them, in one transaction. A dry run
does the same and rolls the rows back.
"""
