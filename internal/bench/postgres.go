package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"holdfast/internal/throwaway"
)

// postgresComparisons set the product, over its wire, beside a PostgreSQL. Both
// get the same bytes from the same clients, wait for the same disk, and have
// processes of their own, whose processor time alone is told. A PostgreSQL with
// synchronous_commit off acks rows that a power cut takes; Holdfast acks none.
func postgresComparisons() []comparison {
	var cases []comparison
	for _, commit := range []string{"on", "off"} {
		against, prefix, goals := "PostgreSQL as it comes, synchronous_commit "+commit+", same clients, same disk", "postgres/", map[int]float64{1: 1, 16: 1, 64: 1}
		if commit == "off" {
			prefix, goals = "postgres-off/", map[int]float64{64: 1}
		}
		add := func(name string, goal float64, step int, clients clients) {
			cases = append(cases, comparison{
				name: prefix + name, unit: "rows/s", goal: goal, step: step, against: against, needs: throwaway.HavePostgres,
				open: func(ctx context.Context, at place) (*pair, error) { return postgresPair(ctx, at, commit, clients) },
			})
		}
		for _, in := range inserts {
			for _, count := range wireCounts {
				add(fmt.Sprintf("%s/%d", in.name, count), goals[count], 16*count, func(p *pair, addr string) (side, error) {
					return insertSide(p, addr, count, in.make)
				})
			}
		}
		if commit == "on" {
			add("copy", 3, 10_000, copySide) // one commit for all rows: off makes no difference
		}
	}
	return cases
}

// clients connects those of a case to a server.
type clients func(p *pair, addr string) (side, error)

func postgresPair(ctx context.Context, at place, commit string, clients clients) (*pair, error) {
	p := &pair{}
	addr, pid, err := child(ctx, p, at)
	if err == nil {
		p.product, err = clients(p, addr)
	}
	var server *throwaway.Server
	if err == nil {
		server, err = startPostgres(ctx, p, at)
	}
	if err == nil {
		err = command(server.Addr(), "ALTER ROLE postgres SET synchronous_commit = "+commit)
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
	if familyCPU(pid) > 0 { // only one of them works at a time
		p.cpu = func() time.Duration { return familyCPU(pid) + familyCPU(server.Pid()) }
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
	return command(addr, "CREATE TABLE "+table+" ("+strings.ReplaceAll(columnNames(), ",", " text, ")+" text)")
}

// command has PostgreSQL run a statement.
func command(addr, sql string) error {
	c, err := dial(addr)
	if err != nil {
		return err
	}
	if err = c.send(&pgproto3.Query{String: sql}); err == nil {
		_, err = c.until('Z')
	}
	if err = errors.Join(err, c.close()); err != nil {
		return fmt.Errorf("PostgreSQL: %s: %w", sql, err)
	}
	return nil
}
