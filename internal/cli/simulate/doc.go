// Package simulate is the sim command: it runs the simulator of package sim.
package simulate
