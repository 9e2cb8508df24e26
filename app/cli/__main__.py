"""``python -m app.cli``: the ``sightline`` command."""

from app.cli.main import main

main()
