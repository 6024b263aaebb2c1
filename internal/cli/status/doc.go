// Package status is the commands that look at a cluster as a daemon's peer sees it.
package status
