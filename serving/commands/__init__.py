"""Commands of the service, a module each; ``serving.cli`` registers them."""
