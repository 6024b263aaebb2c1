// Package client is how the commands talk to a daemon, or to whichever of several answers.
package client
