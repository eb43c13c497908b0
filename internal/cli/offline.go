package cli

import (
	"context"

	"holdfast/internal/config"
	"holdfast/internal/daemon"
)

// offline opens the data directory in this process, for verbs that no server
// answers.
func offline(ctx context.Context, c *config.Config) (Database, error) {
	db, err := daemon.OpenOffline(ctx, c)
	if err != nil {
		return nil, err
	}
	return db, nil
}

// reading opens it for verbs that change nothing, and writes nothing.
func reading(ctx context.Context, c *config.Config) (Database, error) {
	db, err := daemon.OpenReading(ctx, c)
	if err != nil {
		return nil, err
	}
	return db, nil
}
