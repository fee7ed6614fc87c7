"""`hest_exact` with 50 principal components instead of 256, for training sets of a few hundred spots.

256 components of so few spots fit their noise, with a penalty that is all but none. No published number was made so; it
leaks as `hest_exact` does.
"""

from dataclasses import replace

from spotweave.protocols import Protocol
from spotweave.protocols.hest_exact import PROTOCOL as HEST_EXACT

PROTOCOL: Protocol = replace(HEST_EXACT, fit=replace(HEST_EXACT.fit, max_components=50))
