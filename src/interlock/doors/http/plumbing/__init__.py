"""What every HTTP door stands on: operations as data, routing, receiving, errors, traces, streams, documentation."""
