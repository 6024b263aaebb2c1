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
