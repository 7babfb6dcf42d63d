module github.com/freshet-dev/freshet/examples/shop

go 1.25.0

require (
	github.com/freshet-dev/freshet/clients/go v0.0.0
	github.com/lib/pq v1.12.3
)

require (
	github.com/fxamacker/cbor/v2 v2.9.0 // indirect
	github.com/x448/float16 v0.8.4 // indirect
)

// Without this line, and with a version in the one above, the folder builds by itself.
replace github.com/freshet-dev/freshet/clients/go => ../../clients/go
