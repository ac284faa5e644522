package config

import _ "embed" // for the schema

//go:generate sh -c "cd .. && go run ./internal/cmd/schemagen > config/schema.json"
//go:generate sh -c "cd .. && go run ./internal/cmd/schemagen -markdown > docs/configuration.md"

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of the configuration file. It
// knows names, types and values of fields, for editors; what [Load] checks is
// more.
func Schema() []byte { return append([]byte(nil), schema...) }
