package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"holdfast/internal/auth"
)

// maxPassword bounds a password, in bytes; libpq takes as much.
const maxPassword = 1024

func newConfigVerifier(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "verifier < PASSWORD",
		Short: "make what the configuration keeps of a user's password",
		Long: `verifier reads a password, asking for it where a person types, and prints its
verifier in the form that PostgreSQL keeps it in. A verifier that is in
pg_authid already can be copied from there instead: the password stays what it is.`,
		Example: "  holdfast config verifier\n  holdfast config verifier < /run/secrets/acc",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			password, err := readPassword(env)
			if err != nil {
				return err
			}
			v, err := auth.NewVerifier(password)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(env.Stdout, v.Text())
			return err
		},
	}
}

// readPassword reads a line, without showing it where it is typed.
func readPassword(env *Env) (string, error) {
	const hint = "write it into a file that only you can read, and give that: holdfast config verifier < FILE"
	if f, ok := env.Stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(env.Stderr, "Password: ")
		text, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(env.Stderr)
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		if len(text) == 0 {
			return "", usage(hint, "the password is empty")
		}
		return string(text), nil
	}
	if env.Stdin == nil {
		return "", usage(hint, "there is no password to read")
	}
	line, err := bufio.NewReader(io.LimitReader(env.Stdin, maxPassword+2)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("read the password: %w", err)
	}
	switch line = strings.TrimRight(line, "\r\n"); {
	case line == "":
		return "", usage(hint, "the password is empty")
	case len(line) > maxPassword:
		return "", usage("", "the password is longer than %d bytes", maxPassword)
	}
	return line, nil
}

func newConfigToken(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "token",
		Short: "make a token for HTTP, and the hash that the configuration keeps of it",
		Long: `token prints a new token, which is shown this once and goes to the client, and
its hash, which goes into the configuration.`,
		Example: "  holdfast config token",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			token, err := auth.NewToken()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Stdout, "token: %s\nhash: %s\n", token, auth.HashOf(token))
			return err
		},
	}
}
