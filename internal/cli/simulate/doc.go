// Package simulate is the sim command.
package simulate
