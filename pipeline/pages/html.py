"""Templates to pages. Labels and file names are a stranger's: all text is escaped."""

from __future__ import annotations

from typing import Any

import jinja2

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("pipeline.pages", "."), autoescape=True, undefined=jinja2.StrictUndefined
)


def render(template: str, **values: Any) -> str:
    return _ENVIRONMENT.get_template(template).render(**values)
