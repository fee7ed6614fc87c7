def why(reader, role, kind):
    return None
