package daemon

import "github.com/spf13/cobra"

// Commands returns the commands of this package, in a program of the given version.
func Commands(version string) []*cobra.Command {
	return []*cobra.Command{newAgent(version), newConfig(), newDoctor(), newKeygen()}
}
