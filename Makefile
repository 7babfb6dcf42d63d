# A list of one-liners over `cargo xtask`, which holds all logic.
.PHONY: test demo clean-demo setup codegen record fuzz images e2e

test:        ## everything: formatting, lints, licences, unit, process and end-to-end tests
	cargo xtask test
demo:        ## the whole thing for real, on a kind cluster; leaves it running
	cargo xtask demo
clean-demo:  ## removes what the demo left running
	cargo xtask demo --clean
setup:       ## installs what the chores need, or says what to install
	cargo xtask setup
codegen:     ## writes the generated files
	cargo xtask codegen
record:      ## records what the real Debezium writes, for the sidecar's tests
	cargo xtask record
fuzz:        ## the corpus and a few seconds of new inputs for whatever parses foreign bytes
	cargo xtask fuzz
images:      ## builds or pulls every image of the cluster
	cargo xtask images
e2e:         ## the tests on a real cluster alone
	cargo xtask e2e
