package hold

import (
	"strings"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
)

func TestCommandsDoNotGetOurToken(t *testing.T) {
	t.Setenv(client.TokenVariable, "sesame")
	if env := strings.Join(commandEnv(), "\n"); strings.Contains(env, "sesame") || !strings.Contains(env, "PATH=") {
		t.Error(env)
	}
}
