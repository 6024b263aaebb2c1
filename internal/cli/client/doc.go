// Package client is how the commands talk to a daemon, or to the first that answers of several.
package client
