"""Reads statements with the T-SQL grammar of sqlfluff, which shares nothing with this project.

Standard input: a JSON list of [name, statement]. Standard output: a JSON list of [name, [fault, ...]] in the same order.
"""

import json
import logging
import sys

from sqlfluff.core import FluffConfig, Linter

logging.disable(logging.CRITICAL)
LINTER = Linter(config=FluffConfig(overrides={"dialect": "tsql"}))


def faults(sql):
    try:
        parsed = LINTER.parse_string(sql)
        tree = parsed.tree
    except Exception as error:  # what it cannot read at all ends in an error of its own
        return [f"the parser gives up: {str(error).splitlines()[0]}"]
    found = [violation.desc() for violation in parsed.violations]
    if tree is None:
        return found or ["nothing was read"]
    # T-SQL calls a procedure by its bare name where a batch begins, and this grammar lets it do so anywhere: `SELECT a
    # FRM b` would pass as a column and a call of the procedure FRM.
    for call in tree.recursive_crawl("execute_script_statement"):
        words = call.raw.split()
        if words[0].upper() not in ("EXEC", "EXECUTE"):
            found.append(f"read as a call of a procedure: {' '.join(words[:6])}")
    return found


json.dump([[name, faults(sql)] for name, sql in json.load(sys.stdin)], sys.stdout)
