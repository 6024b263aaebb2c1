package hold

import (
	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
)

// Commands are lock, which asks by c, and those that only this program runs.
func Commands(c *client.Client) []*cobra.Command { return append(hidden(), newLock(c)) }
