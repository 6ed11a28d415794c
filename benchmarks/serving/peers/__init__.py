"""The same model in other servers. Each module runs in an environment of its own: `MODEL HTTP_PORT GRPC_PORT`."""
