// Package status is the commands that show a cluster as a daemon's peer sees it.
package status
