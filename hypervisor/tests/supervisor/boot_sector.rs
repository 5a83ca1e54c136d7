//! Guests of 512 bytes.

/// What the guest does.
#[derive(Clone, Copy)]
pub(crate) enum Program {
    /// Writes `login:` to the serial port and halts.
    PrintsLogin,
    /// Resets the machine.
    Resets,
    /// Halts.
    Silent,
}

/// A disk image whose first sector is the program.
pub(crate) fn image(program: Program) -> Vec<u8> {
    const HALT: &[u8] = &[0xf4, 0xeb, 0xfd];
    // cli; xor ax, ax; mov ds, ax; cld; mov si, 0x7c18; mov dx, 0x3f8;
    // next: lodsb; test al, al; jz halt; out dx, al; jmp next; halt: hlt; jmp halt
    const PRINT: &[u8] = &[
        0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0xfc, 0xbe, 0x18, 0x7c, 0xba, 0xf8, 0x03, 0xac, 0x84, 0xc0,
        0x74, 0x03, 0xee, 0xeb, 0xf8, 0xf4, 0xeb, 0xfd, 0x90,
    ];
    // mov dx, 0xcf9; mov al, 6; out dx, al
    const RESET: &[u8] = &[0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee];
    let code = match program {
        Program::PrintsLogin => [PRINT, b"login:\0"].concat(),
        Program::Resets => [RESET, HALT].concat(),
        Program::Silent => HALT.to_vec(),
    };
    let mut image = vec![0; 1 << 20];
    image[..code.len()].copy_from_slice(&code);
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    image
}
