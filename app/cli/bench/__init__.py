"""``sightline bench``: a whole system of its own under the load of N cameras, and what it delivered and cost."""
