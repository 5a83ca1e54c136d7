//! Guests of 512 bytes.

/// What the guest does.
#[derive(Clone, Copy)]
pub(crate) enum Program {
    /// Writes `login:` to the serial port and halts.
    PrintsLogin,
    /// Writes `login:` to the serial port, then sleeps (ACPI S3).
    Sleeps,
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
    // mov dx, 0x604; mov ax, 0x2400; out dx, ax: SLP_EN with SLP_TYP 1 to PM1_CNT, where SeaBIOS puts it on q35
    const SLEEP: &[u8] = &[0xba, 0x04, 0x06, 0xb8, 0x00, 0x24, 0xef];
    let code = match program {
        Program::PrintsLogin => [PRINT, b"login:\0"].concat(),
        Program::Sleeps => {
            let mut code = PRINT.to_vec();
            // In the place of the halt; the text is behind it.
            code.truncate(20);
            code.extend(SLEEP);
            code.extend(HALT);
            code[7] = u8::try_from(code.len()).unwrap();
            [code, b"login:\0".to_vec()].concat()
        }
        Program::Resets => [RESET, HALT].concat(),
        Program::Silent => HALT.to_vec(),
    };
    let mut image = vec![0; 1 << 20];
    image[..code.len()].copy_from_slice(&code);
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    image
}
