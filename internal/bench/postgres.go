package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"

	"holdfast/internal/throwaway"
)

// postgresComparisons set the product, over its wire, beside a PostgreSQL as
// it comes, with fsync and synchronous_commit on. Both get the same bytes from the same clients and wait for the same disk.
func postgresComparisons() []comparison {
	const against = "PostgreSQL as it comes, synchronous_commit on, same clients, same disk"
	var cases []comparison
	add := func(name string, goal float64, step int, clients func(p *pair, addr string) (side, error)) {
		cases = append(cases, comparison{
			name: "postgres/" + name, unit: "rows/s", goal: goal, step: step, against: against, needs: throwaway.HavePostgres,
			open: func(ctx context.Context, at place) (*pair, error) { return postgresPair(ctx, at, clients) },
		})
	}
	for _, in := range inserts {
		for _, count := range wireCounts {
			add(fmt.Sprintf("%s/%d", in.name, count), 1, 16*count, func(p *pair, addr string) (side, error) {
				return insertSide(p, addr, count, in.make)
			})
		}
	}
	add("copy", 3, 10_000, copySide)
	return cases
}

func postgresPair(ctx context.Context, at place, clients func(p *pair, addr string) (side, error)) (*pair, error) {
	p := &pair{}
	db, err := openDatabase(ctx, p, at)
	if err == nil {
		p.product, err = serveTo(p, wireStore{db}, clients)
	}
	var server *throwaway.Server
	if err == nil {
		server, err = startPostgres(ctx, p, at)
	}
	if err == nil {
		err = createTable(server.Addr(), benchTable)
	}
	if err == nil {
		p.baseline, err = clients(p, server.Addr())
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// startPostgres starts a server as it comes, below the case's own directory,
// until p is closed.
func startPostgres(ctx context.Context, p *pair, at place) (*throwaway.Server, error) {
	return started(ctx, p, at, throwaway.Postgres)
}

// started starts a server of either kind, until p is closed.
func started(ctx context.Context, p *pair, at place, start func(context.Context, throwaway.Options) (*throwaway.Server, error)) (*throwaway.Server, error) {
	// The bench's own directory was made for this user alone; a server that must
	// not be root's is somebody else's.
	if err := os.Chmod(filepath.Dir(at.dir), 0o755); err != nil {
		return nil, err
	}
	s, err := start(ctx, throwaway.Options{Dir: at.dir})
	if err != nil {
		return nil, err
	}
	p.onClose(s.Close)
	return s, nil
}

// createTable makes a table for the bench's rows.
func createTable(addr, table string) error {
	c, err := dial(addr)
	if err != nil {
		return err
	}
	err = c.send(&pgproto3.Query{String: "CREATE TABLE " + table + " (" + strings.ReplaceAll(columnNames(), ",", " text, ") + " text)"})
	if err == nil {
		_, err = c.until('Z')
	}
	if err = errors.Join(err, c.close()); err != nil {
		return fmt.Errorf("create table in PostgreSQL: %w", err)
	}
	return nil
}
