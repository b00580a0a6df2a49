"""What plugins see: records, tokens, hooks, and who is blamed. No loading of plugins, no torch at import."""
