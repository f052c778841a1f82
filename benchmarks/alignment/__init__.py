"""fibstack's alignment against its peers, on stacks whose true alignment is known."""
