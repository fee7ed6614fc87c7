"""What tests run in processes of their own; it imports little, as each of them imports it."""

from spotweave.errors import Refusal


def refuse(processes, device):
    raise Refusal(f"rank {processes.rank} of {processes.count} on {device}", measured=1, threshold=2)
