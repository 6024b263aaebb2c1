// Sentinel-peer is the daemon that runs beside a worker, and the commands that talk
// to it.
package main

import (
	"os"

	"github.com/sentinel-peer/sentinel-peer/internal/cli"
)

// release is the version of a release. The linker sets it (-X main.release=...).
var release string

func main() { os.Exit(cli.Main(release, os.Args[1:])) }
