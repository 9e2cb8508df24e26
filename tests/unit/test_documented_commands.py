"""No command of the documents is left out of the test that runs them all."""

from __future__ import annotations

from tests.support.documented_commands import (
    IN_A_SECOND_SHELL,
    NAMES,
    ON_A_CLUSTER,
    DocumentedCommand,
    block_on_a_cluster,
    commands_of,
    documented_commands,
)

DOCUMENT = """
Look at it with `sightline status`, or `serve
status`; `sightline up` starts it.

```sh
export A=1
RAY_AUTH_MODE=token serve status   # a comment
```
"""


def test_commands_are_found_in_blocks_and_in_the_text_and_others_are_not():
    assert list(commands_of(DOCUMENT)) == [
        DocumentedCommand("RAY_AUTH_MODE=token serve status", in_block=True),
        DocumentedCommand("sightline status", in_block=False),
    ]


def test_every_command_that_asks_a_running_system_is_run_by_a_test_and_each_of_those_is_documented():
    documented = {command.text for command in documented_commands()}
    assert documented == IN_A_SECOND_SHELL.keys() | {line for line in ON_A_CLUSTER if line in documented} | NAMES
    assert {command.text for command in documented_commands() if command.in_block}.isdisjoint(NAMES)


def test_a_command_of_a_block_is_typed_as_it_stands_there():
    for command in documented_commands():
        if command.in_block and command.text not in ON_A_CLUSTER:
            assert IN_A_SECOND_SHELL[command.text].line == command.text


def test_the_block_for_a_cluster_is_the_one_that_is_run():
    assert block_on_a_cluster() == ON_A_CLUSTER
