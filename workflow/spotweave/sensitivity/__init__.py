"""What a wrong pixel size, a shift of the spots and another size of pooling do to the scores of a task that was run.

changes        what is changed, and by how much
store          a sample's patches cut again under a change, from what the run keeps
measure        probes fitted and scored under every change, beside the unchanged
command        the whole way, to one table
"""
