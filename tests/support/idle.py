"""Tests that mostly wait, marked ``idle``: all of a module's run at once, and each then tells its own outcome.

What they wait for is a peer's time-out, say, or a process that they started. Such a test takes its parameters,
``tmp_path`` and fixtures that live longer than it, and holds nothing against a neighbour: it counts no threads and no
files, and measures no time to less than a busy machine's second.
"""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

AT_ONCE = 12
"""So many run beside each other at most: processes need memory, and a time-out needs a machine that is not flooded."""
_Outcomes = dict[str, "Future[None]"]
_OUTCOMES = pytest.StashKey[_Outcomes]()
"""Of a module: what became of its tests, by node id, until each has reported it."""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Call an idle test: the first one of a module runs all that were selected."""
    if not _is_idle(pyfuncitem):
        return None
    module = pyfuncitem.getparent(pytest.Module)
    assert module is not None
    if pyfuncitem.nodeid not in module.stash.get(_OUTCOMES, {}):  # asked for again, it runs again
        module.stash[_OUTCOMES] = _run(pyfuncitem, module)
    module.stash[_OUTCOMES].pop(pyfuncitem.nodeid).result()
    return True


def _is_idle(item: pytest.Item) -> bool:
    return item.get_closest_marker("idle") is not None


def _run(first: pytest.Function, module: pytest.Module) -> _Outcomes:
    items = [
        item
        for item in first.session.items
        if isinstance(item, pytest.Function) and _is_idle(item) and item.getparent(pytest.Module) is module
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:  # its end waits for all: no other test runs beside them
        return {item.nodeid: pool.submit(_call, item.obj, _arguments(item, first)) for item in items}


def _arguments(item: pytest.Function, first: pytest.Function) -> dict[str, Any]:
    """Return an item's arguments; its fixtures are those of the first item, as they live longer than either."""
    ask = first._request.getfixturevalue
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    found = {}
    for name in item._fixtureinfo.argnames:
        if name in parameters:
            found[name] = parameters[name]
        elif name == "tmp_path":
            found[name] = ask("tmp_path_factory").mktemp("idle")
        else:
            scope = item._fixtureinfo.name2fixturedefs[name][-1].scope
            assert scope != "function", f"{item.nodeid} is idle: its fixture {name} would be its neighbours' as well"
            found[name] = ask(name)
    return found


def _call(function: Any, arguments: dict[str, Any]) -> None:
    original = inspect.unwrap(function)  # pytest-asyncio wraps a coroutine function while it runs it
    outcome = original(**arguments)
    if inspect.iscoroutine(outcome):
        asyncio.run(outcome)
