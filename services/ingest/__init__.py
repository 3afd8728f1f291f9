"""The gRPC service that takes in events and catalogue changes, and the updater that makes features of them."""
