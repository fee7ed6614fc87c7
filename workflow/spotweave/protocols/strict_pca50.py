"""`strict` with 50 principal components instead of 256.

How many are kept moves scores more than the choice of an encoder does: what holds at both counts can be believed. It
leaks no more than `strict`.
"""

from dataclasses import replace

from spotweave.protocols import Protocol
from spotweave.protocols.strict import PROTOCOL as STRICT

PROTOCOL: Protocol = replace(STRICT, fit=replace(STRICT.fit, max_components=50))
