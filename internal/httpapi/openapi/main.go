// Command openapi prints the document that daemons serve as /v1/openapi.json, for the
// linter and the compiler beside it.
package main

import (
	"os"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

func main() {
	if _, err := os.Stdout.Write(api.OpenAPI()); err != nil {
		os.Exit(1)
	}
}
