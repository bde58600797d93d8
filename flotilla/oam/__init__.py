"""KubeVela's Application format (core.oam.dev), a strict subset. The front is flotilla.application."""
