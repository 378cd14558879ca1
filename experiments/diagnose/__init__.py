"""Why is a model stuck: causes that are built so that the truth is known, and what `jaxgd.diagnose` says of them."""
