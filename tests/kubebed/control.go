package main

// Commands of a test on standard input, one a line, each answered by one line on standard output.

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
)

// obey carries out commands until the input ends, then stops the bed: a bed does not outlive the
// test that started it, however that ends.
//
//	apiserver stop     kill the API server
//	apiserver start    start it again and wait until it is ready
//
// The answer is "ok", or "error: " and the reason. One command is carried out beside the others
// and has no answer:
//
//	namespace forget NAME    kill the namespace's pods and delete it
func (b *bed) obey(ctx context.Context, in io.Reader, out io.Writer, stop func()) {
	defer stop()
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "namespace forget "); ok {
			go b.forgetNamespace(ctx, name)
		} else if err := b.command(ctx, lines.Text()); err != nil {
			fmt.Fprintln(out, "error:", err)
		} else {
			fmt.Fprintln(out, "ok")
		}
	}
}

func (b *bed) command(ctx context.Context, line string) error {
	switch line {
	case "apiserver stop":
		return b.api.stop()
	case "apiserver start":
		return b.api.start(ctx)
	}
	return fmt.Errorf("no command %q", line)
}

// forgetNamespace does not wait for what pods have to say: the test that they belonged to is over.
func (b *bed) forgetNamespace(ctx context.Context, name string) {
	if err := b.client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		klog.Errorf("kubebed: forgetting namespace %s: %v", name, err)
	}
	b.agent.killNamespace(ctx, name)
}
