"""How the pages of the report look."""

from __future__ import annotations

STYLE = (
    "body{font:14px system-ui,sans-serif;margin:24px;color:#222}"
    "table{border-collapse:collapse;margin:12px 0 28px}"
    "th,td{padding:5px 12px;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}"
    "th{border-bottom:2px solid #888}"
)
