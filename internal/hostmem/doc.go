// Package hostmem says how much memory this process may use: what its control group
// allows, of either version, or what the machine has. Linux tells; other systems do not.
package hostmem
