"""The Triton kernels, run by Triton's interpreter on a CPU, against their plain twins: TRITON_INTERPRET=1 python -m unittest discover tests/kernels

Needs the package triton. What only a GPU can show (the compiled kernels, their speed) stands in the cuda cells of rooms 04a, 06a and 08d.
"""
import os
import unittest

os.environ["TRITON_INTERPRET"] = "1"

import torch
import torch.nn.functional as F
import triton

from bijdiff import branch, choice, head, lift, optim


class Turn(unittest.TestCase):
    def test_forward_and_backward(self):
        for b, l, heads, size in ((2, 9, 3, 8), (1, 7, 2, 12), (2, 5, 2, 64)):
            with self.subTest(heads=heads, size=size):
                qkv, rotary = torch.randn(b, l, 3, heads, size), branch.rotations(16, size, 100.0)[:, :l]
                cotangents = [torch.randn(b, heads, l, size).transpose(1, 2) for _ in range(3)]
                plain = qkv.clone()
                rates = branch._turn(plain, rotary)
                gradient = branch._turn_back(plain, rotary, rates, *cotangents)
                length, to_sines, shape = branch._shape(qkv, rotary)
                noted, back = torch.full_like(rates, torch.nan), torch.full_like(qkv, torch.nan)
                rows = b * l * heads
                branch._turn_kernel[(triton.cdiv(2 * rows, 32),)](qkv, rotary, noted, 2 * rows, length, to_sines, **shape)
                branch._turn_back_kernel[(triton.cdiv(rows, 32), 3)](qkv, rotary, noted, *cotangents, back, rows, length, to_sines, *(s for g in cotangents for s in g.stride()[:3]), **shape)
                torch.testing.assert_close(qkv, plain)
                torch.testing.assert_close(noted, rates)
                torch.testing.assert_close(back, gradient)


class Gelu(unittest.TestCase):
    def test_values_and_gradients(self):
        u, g = 4 * torch.randn(3000), torch.randn(3000)
        wanted, slope = F.gelu(u), torch.ops.aten.gelu_backward(g, u)
        found, back, again = torch.full_like(u, torch.nan), g.clone(), u.clone()
        branch._gelu_kernel[(2,)](u, found, len(u), BLOCK=2048)
        branch._gelu_back_kernel[(2,)](u, back, len(u), AGAIN=False, BLOCK=2048)
        branch._gelu_back_kernel[(2,)](again, g, len(u), AGAIN=True, BLOCK=2048)
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(back, slope)
        self.assertTrue(torch.equal(again, found) and torch.equal(back, g))


class CrossEntropy(unittest.TestCase):
    def test_loss_and_gradient(self):
        for rows, vocab_size, width in ((5, 700, 704), (3, 17000, 17024), (2, 8192, 8192), (2, 40, 64)):
            with self.subTest(vocab_size=vocab_size):
                logits, target, weight = 3 * torch.randn(rows, width), torch.randint(vocab_size, (rows,)), torch.rand(rows)
                wanted = logits[:, :vocab_size].clone().requires_grad_()
                losses = weight * F.cross_entropy(wanted, target, reduction="none")
                gradient, = torch.autograd.grad(losses.sum(), wanted)
                total, found = head._cross_entropy(logits, vocab_size, None, target, weight, None)
                torch.testing.assert_close(total, losses.sum().detach())
                torch.testing.assert_close(found[:, :vocab_size], gradient)
                self.assertTrue((found[:, vocab_size:] == 0).all())


class Symmetric(unittest.TestCase):
    def test_products_and_polynomials(self):
        for dtype in torch.float32, torch.float16:  # the interpreter has no bfloat16
            with self.subTest(dtype=dtype):
                x = torch.randn(2, 48, 32).to(dtype)
                for left, right in ((x, x.mT), (x.mT.contiguous().mT, x.mT)):
                    found = optim._symmetric_by_kernel(left, right, None, tile=16, step=16)
                    torch.testing.assert_close(found, (left.float() @ right.float()).to(dtype))
                    self.assertTrue(torch.equal(found[:, :16, 16:], found[:, 16:, :16].mT))
                gram = (x @ x.mT).float().div(24).to(dtype)
                plain = 3 * torch.eye(48) - 2 * gram.float() + 0.5 * gram.float() @ gram.float()
                torch.testing.assert_close(optim._symmetric_by_kernel(gram, gram, (3.0, -2.0, 0.5), tile=16, step=16), plain.to(dtype))


class RowSums(unittest.TestCase):
    def test_runs_short_and_long(self):
        for count, rows, width in ((1, 5, 6), (64, 3, 24), (150, 40, 130), (200, 2, 5)):
            with self.subTest(count=count, rows=rows):
                first, second, tokens = torch.randn(count, width), torch.randn(count, width), torch.randint(rows, (count,))
                tokens[torch.rand(count) < 0.5] = rows - 1
                found = lift._row_sums_by_kernel(first, second, tokens, rows, chunk=4)
                torch.testing.assert_close(found, lift._row_sums(first, second, tokens, rows))


class Softmax(unittest.TestCase):
    def test_probabilities_sums_and_tops(self):
        for rows, vocab_size, width in ((3, 9000, 9024), (2, 100, 128), (2, 512, 512)):
            with self.subTest(vocab_size=vocab_size):
                logits = 3 * torch.randn(rows, width)
                logits[1, vocab_size // 2] = torch.nan
                found, plain = choice._by_kernel(logits, vocab_size), logits[:, :vocab_size].softmax(-1)
                torch.testing.assert_close(found.p, plain, equal_nan=True)
                torch.testing.assert_close(found.sums, choice._groups(plain, choice.GROUP, torch.sum), equal_nan=True)
                torch.testing.assert_close(found.tops[0], choice._groups(plain, choice.GROUP, torch.amax)[0])


if __name__ == "__main__":
    unittest.main()
