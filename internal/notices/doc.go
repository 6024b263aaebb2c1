// Command notices prints the licences of the modules that are linked into sentinel-peer, for the
// given platforms (GOOS/GOARCH), or for that of this machine. It reads them from the module cache,
// and fails if a module has none.
package main
