package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"holdfast/internal/config"
)

func newConfig(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config check|print|schema|verifier|token",
		Short:   "check, print or describe the configuration, and make what it keeps of passwords and tokens",
		Example: "  holdfast config check --config /etc/holdfast/holdfast.yaml",
	}
	group(cmd)
	cmd.AddCommand(newConfigCheck(env), newConfigPrint(env), newConfigSchema(env), newConfigVerifier(env), newConfigToken(env))
	return cmd
}

func newConfigCheck(env *Env) *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:   "check [--config FILE] [--data DIR]",
		Short: "say whether a server can run with the configuration",
		Long: `check reads the configuration as serve would, and tells every problem with file,
line and column. It looks at the paths that are named, and changes nothing.`,
		Example: "  holdfast config check --config /etc/holdfast/holdfast.yaml",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := s.load(env, config.Override{})
			if err != nil {
				return err
			}
			if err := c.Check(); err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Stdout, "%s is fine\n", first(c.Path, "the default configuration"))
			return err
		},
	}
	s.flags(cmd)
	return cmd
}

func newConfigPrint(env *Env) *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:     "print [--config FILE] [--data DIR]",
		Short:   "print the configuration with every default, and passwords hidden",
		Example: "  holdfast config print > holdfast.yaml",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := s.load(env, config.Override{})
			if err != nil {
				return err
			}
			return c.Print(env.Stdout)
		},
	}
	s.flags(cmd)
	return cmd
}

func newConfigSchema(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "print the JSON Schema of the configuration, for editors",
		Example: "  holdfast config schema > holdfast.schema.json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			text, err := config.Schema()
			if err != nil {
				return err
			}
			_, err = env.Stdout.Write(text)
			return err
		},
	}
}
