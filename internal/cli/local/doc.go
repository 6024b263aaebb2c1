// Package local runs peers as processes of this machine, for the demo and for tests.
package local
