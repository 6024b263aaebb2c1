// Command notices prints the licences of what is linked into sentinel-peer, for the
// platforms named, GOOS/GOARCH each; without one for this machine's. It reads them where
// the go command keeps the modules, and fails if one has none.
package main
